-- Extends the life of a stored content to at least the given time.
-- KEYS: blob
-- ARGV: time to live in milliseconds
-- Returns 1 where the content is there.
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms == -2 then
  return 0
end
if left_ms < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
