-- Ends a job as expired that no worker is going to end: its deadline is long over, and no living worker holds it.
-- KEYS: job, watchers
-- ARGV: job id, milliseconds after the deadline, outcome
-- Returns 1 where the job has ended now.
local job, watchers = KEYS[1], KEYS[2]

-- A foreign type answers with an error table.
local state = redis.pcall('HGET', job, 'state')
if type(state) ~= 'string' or over(state) or not abandoned(job, tonumber(ARGV[2])) then
  return 0
end
conclude(job, watchers, ARGV[1], 'EXPIRED', ARGV[3], redis.call('HGET', job, 'attempt_count') or 0)
return 1
