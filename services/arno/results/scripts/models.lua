-- Returns the models that were reported lately, and removes the others.
-- KEYS: models
-- ARGV: seconds for which a report counts
local now, found, live = redis.call('TIME'), redis.call('HGETALL', KEYS[1]), {}
for i = 1, #found, 2 do
  local at, model = string.match(found[i + 1], '^(%d+) (.*)$')
  if at and tonumber(now[1]) - tonumber(at) <= tonumber(ARGV[1]) then
    live[#live + 1] = model
  else
    redis.call('HDEL', KEYS[1], found[i])
  end
end
return live
