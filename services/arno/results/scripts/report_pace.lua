-- Stores the cost that a worker gets done in a second, and the model that it runs.
-- KEYS: paces, models
-- ARGV: worker, cost a second, seconds for which the report counts, model
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. now[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], now[1] .. ' ' .. ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
