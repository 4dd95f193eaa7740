-- Notes that the bus has the record of a job, so that it need not be published again.
-- KEYS: job
-- A foreign type answers with an error table.
local state = redis.pcall('HGET', KEYS[1], 'state')
if type(state) == 'string' and state ~= DELETED then
  redis.call('HSET', KEYS[1], 'published', 1)
  redis.call('HDEL', KEYS[1], 'publishing')
end
