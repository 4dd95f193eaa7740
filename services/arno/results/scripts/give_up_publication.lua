-- Ends a caller's turn to publish a job; another caller's turn stays.
-- KEYS: job
-- ARGV: whose turn
-- A foreign type answers with an error table.
local publishing = redis.pcall('HGET', KEYS[1], 'publishing')
if type(publishing) == 'string' and string.match(publishing, '^%d+ (.*)$') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'publishing')
end
