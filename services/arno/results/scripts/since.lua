-- Returns since when this Redis has its memory, Unix ms: the time of the first call after it came up empty.
-- KEYS: since
-- ARGV: time to live in milliseconds, counted from the newest call
local since = redis.pcall('GET', KEYS[1])
if type(since) ~= 'string' or not tonumber(since) then
  since = string.format('%.0f', now_ms())
  redis.call('SET', KEYS[1], since)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return since
