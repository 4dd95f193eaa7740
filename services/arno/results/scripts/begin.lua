-- Counts an attempt, before any work. A new attempt starts without task results; the state stays where it was.
-- KEYS: job, watchers
-- ARGV: job id, tenant, submitted_at_ms, deadline_at_ms, time_to_live_s, token of this begin
-- Returns {attempt number, state, cancel requested ('1' or '0')}; number 0 where there is nothing to begin.
local job, watchers, token = KEYS[1], KEYS[2], ARGV[6]

evict_foreign(job, watchers)
local state = ensure(job, {tenant = ARGV[2], submitted_at_ms = ARGV[3], deadline_at_ms = ARGV[4], time_to_live_s = ARGV[5]})
if state == DELETED then
  return {0, 'CANCELLED', '1'}
end
local cancel_requested = redis.call('HGET', job, 'cancel_requested') or '0'
-- The client sends a begin again when its reply was lost: the same token is the same attempt.
if over(state) or redis.call('HGET', job, 'begin_token') == token then
  return {tonumber(redis.call('HGET', job, 'attempt_count')), state, cancel_requested}
end
local number = redis.call('HINCRBY', job, 'attempt_count', 1)
clear_results(job)
redis.call('HSET', job, 'begin_token', token, 'decoded_token_count', 0)
announce(job, watchers, ARGV[1], state)
return {number, state, cancel_requested}
