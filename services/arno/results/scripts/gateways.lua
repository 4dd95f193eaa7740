-- Notes that a gateway serves, and returns how many do; removes those that were not noted lately.
-- KEYS: gateways
-- ARGV: gateway, seconds for which a note counts
local now, serving = redis.call('TIME'), 0
redis.call('HSET', KEYS[1], ARGV[1], now[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  local at = tonumber(found[i + 1])
  if at and tonumber(now[1]) - at <= tonumber(ARGV[2]) then
    serving = serving + 1
  else
    redis.call('HDEL', KEYS[1], found[i])
  end
end
return serving
