-- Ends a job: the first end counts, whichever attempt brings it; later ones are counted and dropped.
-- KEYS: job, watchers
-- ARGV: job id, tenant, submitted_at_ms, deadline_at_ms, time_to_live_s, attempt number, terminal state, outcome
-- Returns 1 where this is the end that counts.
local job, watchers, number, outcome = KEYS[1], KEYS[2], ARGV[6], ARGV[8]

evict_foreign(job, watchers)
local state = ensure(job, {tenant = ARGV[2], submitted_at_ms = ARGV[3], deadline_at_ms = ARGV[4], time_to_live_s = ARGV[5]})
if state == DELETED then
  return 0
end
if over(state) then
  -- The client sends an end again when its reply was lost: that is not a second one.
  local present = redis.call('HMGET', job, 'ended_by', 'outcome')
  if present[1] == number and present[2] == outcome then
    return 1
  end
  redis.call('HINCRBY', job, 'duplicate_count', 1)
  return 0
end
if tonumber(number) > tonumber(redis.call('HGET', job, 'attempt_count')) then
  redis.call('HSET', job, 'attempt_count', number)
end
conclude(job, watchers, ARGV[1], ARGV[7], outcome, number)
count_results(job, #outcome)
return 1
