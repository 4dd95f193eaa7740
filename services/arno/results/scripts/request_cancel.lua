-- Notes that a job is to be cancelled; a job that no worker has begun ends at once. An ended or unknown job stays as it is.
-- KEYS: job, watchers
-- ARGV: job id, outcome of a job that no worker has begun
local job, watchers = KEYS[1], KEYS[2]

-- A foreign type answers with an error table.
local state = redis.pcall('HGET', job, 'state')
if type(state) ~= 'string' or over(state) then
  return 0
end
local asked_before = redis.call('HGET', job, 'cancel_requested') == '1'
redis.call('HSET', job, 'cancel_requested', '1')
if redis.call('HGET', job, 'attempt_count') == '0' then
  conclude(job, watchers, ARGV[1], 'CANCELLED', ARGV[2], 0)
elseif not asked_before then
  announce(job, watchers, ARGV[1], state)
end
return 1
