-- Creates a job, unless its idempotency key is held.
-- KEYS: job, watchers, idempotency key
-- ARGV: job id, tenant, submitted_at_ms, deadline_at_ms, time_to_live_s, lane, body_sha256, stream or '', has key ('1' or '0'),
--       milliseconds for which only the claimant of a key may publish, subscriptions with commas between or ''
-- Returns {id of the job that holds the key, body_sha256 of that job}.
local job, watchers, idempotency = KEYS[1], KEYS[2], KEYS[3]
local job_id, lane, body_sha256, stream = ARGV[1], ARGV[6], ARGV[7], ARGV[8]
local has_key = ARGV[9] == '1'

if has_key then
  -- A foreign value (an error table, or a text of another form) is overwritten.
  local held = redis.pcall('GET', idempotency)
  local holder, holder_sha256 = string.match(type(held) == 'string' and held or '', '^(%S+) (%S*)$')
  if holder then
    return {holder, holder_sha256}
  end
end
evict_foreign(job, watchers)
ensure(job, {tenant = ARGV[2], submitted_at_ms = ARGV[3], deadline_at_ms = ARGV[4], time_to_live_s = ARGV[5]})
redis.call('HSET', job, 'lane', lane, 'body_sha256', body_sha256)
if ARGV[11] and ARGV[11] ~= '' then
  redis.call('HSET', job, 'notify', ARGV[11])
end
if has_key then
  redis.call('HSET', job, 'idempotency', idempotency)
  redis.call('SET', idempotency, job_id .. ' ' .. body_sha256, 'PX', redis.call('PTTL', job))
  local now = redis.call('TIME')
  local until_ms = now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[10])
  redis.call('HSET', job, 'publishing', string.format('%.0f ', until_ms) .. job_id)
end
if stream ~= '' then
  watch(job, watchers, stream, 'end')
end
return {job_id, body_sha256}
