-- Notes how a worker ended; only its first report counts.
-- KEYS: this worker
-- ARGV: 'left' or 'died', time to live in milliseconds
local state = redis.pcall('GET', KEYS[1])
if state ~= LEFT and state ~= DIED then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
