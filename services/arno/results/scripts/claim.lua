-- Creates a job, unless its idempotency key is held, or its tenant stores as much as it may.
-- KEYS: job, watchers, idempotency key, account of the tenant
-- ARGV: job id, tenant, submitted_at_ms, deadline_at_ms, time_to_live_s, lane, body_sha256, stream or '', has key ('1' or '0'),
--       milliseconds for which only the claimant of a key may publish, subscriptions with commas between or '', most bytes of
--       the tenant or 0
-- Returns {id of the job that holds the key, body_sha256 of that job}; {'', '', bytes that the tenant would store} where
-- these are too many.
local job, watchers, idempotency, account = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local job_id, lane, body_sha256, stream = ARGV[1], ARGV[6], ARGV[7], ARGV[8]
local has_key, notify, stored_bytes_max = ARGV[9] == '1', ARGV[11], tonumber(ARGV[12])

if has_key then
  -- A foreign value (an error table, or a text of another form) is overwritten.
  local held = redis.pcall('GET', idempotency)
  local holder, holder_sha256 = string.match(type(held) == 'string' and held or '', '^(%S+) (%S*)$')
  if holder then
    return {holder, holder_sha256}
  end
end
local wanted_bytes = stored_bytes(account) + JOB_BYTES
if stored_bytes_max > 0 and wanted_bytes > stored_bytes_max then
  return {'', '', wanted_bytes}
end
evict_foreign(job, watchers)
ensure(job, {tenant = ARGV[2], submitted_at_ms = ARGV[3], deadline_at_ms = ARGV[4], time_to_live_s = ARGV[5]})
redis.call('HSET', job, 'lane', lane, 'body_sha256', body_sha256)
if notify ~= '' then
  redis.call('HSET', job, 'notify', notify)
end
count_job(job, account)
if has_key then
  redis.call('HSET', job, 'idempotency', idempotency)
  redis.call('SET', idempotency, job_id .. ' ' .. body_sha256, 'PX', redis.call('PTTL', job))
  redis.call('HSET', job, 'publishing', string.format('%.0f ', now_ms() + tonumber(ARGV[10])) .. job_id)
end
if stream ~= '' then
  watch(job, watchers, stream, 'end')
end
return {job_id, body_sha256}
