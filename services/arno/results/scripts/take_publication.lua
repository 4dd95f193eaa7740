-- Gives a caller the turn to publish a job, unless its record is on the bus or another caller has the turn.
-- KEYS: job
-- ARGV: the caller, milliseconds for which the turn lasts
-- Returns 1 where the caller has the turn.
-- A foreign type answers with an error table, which has none of these fields.
local present = redis.pcall('HMGET', KEYS[1], 'state', 'attempt_count', 'published', 'publishing')
if present[1] ~= 'QUEUED' or present[2] ~= '0' or present[3] == '1' then
  return 0
end
local now = now_ms()
local until_ms, by = string.match(present[4] or '', '^(%d+) (.*)$')
if by and by ~= ARGV[1] and tonumber(until_ms) > now then
  return 0
end
redis.call('HSET', KEYS[1], 'publishing', string.format('%.0f ', now + tonumber(ARGV[2])) .. ARGV[1])
return 1
