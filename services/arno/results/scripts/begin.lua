-- Begins an attempt, before any work, unless too many workers have died while they held the job. A new attempt starts without task results; the
-- state stays where it was.
-- KEYS: job, watchers, this worker
-- ARGV: job id, tenant, submitted_at_ms, deadline_at_ms, time_to_live_s, token of this begin, silence of a dead worker in ms,
--       deaths at which nothing is begun, or -1
-- Returns {attempt number, state, cancel requested (1 or 0), deaths, begun (1 or 0)}; number 0 where the job was deleted.
local job, watchers, worker, token, deaths_max = KEYS[1], KEYS[2], KEYS[3], ARGV[6], tonumber(ARGV[8])

evict_foreign(job, watchers)
local state = ensure(job, {tenant = ARGV[2], submitted_at_ms = ARGV[3], deadline_at_ms = ARGV[4], time_to_live_s = ARGV[5]})
if state == DELETED then
  return {0, 'CANCELLED', 1, 0, 0}
end
local cancel_requested = redis.call('HGET', job, 'cancel_requested') == '1' and 1 or 0
if over(state) then
  return {tonumber(redis.call('HGET', job, 'attempt_count')), state, cancel_requested, 0, 0}
end
local deaths = count_deaths(job, worker)
-- The client sends a begin again when its reply was lost: the same token is the same attempt.
if redis.call('HGET', job, 'begin_token') == token then
  return {tonumber(redis.call('HGET', job, 'attempt_count')), state, cancel_requested, deaths, 1}
end
if deaths_max >= 0 and deaths >= deaths_max then
  -- By 0: read as the number that it must be.
  return {redis.call('HINCRBY', job, 'attempt_count', 0), state, cancel_requested, deaths, 0}
end
local number = redis.call('HINCRBY', job, 'attempt_count', 1)
clear(job, RESULT)
redis.call('HSET', job, 'begin_token', token, 'decoded_token_count', 0)
-- A worker that has reported its end will not touch the job, so its death cannot count.
if note_alive(worker, ARGV[7]) then
  redis.call('HSET', job, HOLDER .. worker, number)
end
announce(job, watchers, ARGV[1], state)
return {number, state, cancel_requested, deaths, 1}
