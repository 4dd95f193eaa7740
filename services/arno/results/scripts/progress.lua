-- Moves a running job forward and stores task results; only for the newest attempt.
-- KEYS: job, watchers
-- ARGV: job id, tenant, submitted_at_ms, deadline_at_ms, time_to_live_s, attempt number, state, decoded_token_count,
--       then the index and the bytes of each new task result
-- Returns 1 to go on, 0 to stop.
local job, watchers, number, next_state = KEYS[1], KEYS[2], tonumber(ARGV[6]), ARGV[7]

evict_foreign(job, watchers)
local state = ensure(job, {tenant = ARGV[2], submitted_at_ms = ARGV[3], deadline_at_ms = ARGV[4], time_to_live_s = ARGV[5]})
if over(state) then
  return 0
end
if number < tonumber(redis.call('HGET', job, 'attempt_count')) then
  return 0
end
if RANK[next_state] > RANK[state] then
  state = next_state
end
-- In a job created again the count starts over; a number can only raise it.
redis.call('HSET', job, 'state', state, 'attempt_count', number, 'decoded_token_count', ARGV[8])
for i = 9, #ARGV, 2 do
  redis.call('HSET', job, 'result:' .. ARGV[i], ARGV[i + 1])
end
announce(job, watchers, ARGV[1], state)
return redis.call('HGET', job, 'cancel_requested') == '1' and 0 or 1
