-- Stores the cost that a worker gets done in a second.
-- KEYS: paces
-- ARGV: worker, cost a second, seconds for which the report counts
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. now[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
