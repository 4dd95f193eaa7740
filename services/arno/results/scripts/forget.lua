-- Forgets a job and frees its idempotency key. A tombstone stays for as long as the job would have, so that a worker that
-- runs it stops, and its record is not begun when it is delivered again. Where there can be no record, no tombstone stays.
-- KEYS: job, watchers
-- ARGV: job id, whether a tombstone stays ('1' or '0')
local job, watchers = KEYS[1], KEYS[2]

-- A foreign type answers with an error table.
local state = redis.pcall('HGET', job, 'state')
if type(state) ~= 'string' or state == DELETED then
  return 0
end
local left_ms = redis.call('PTTL', job)
local idempotency = redis.call('HGET', job, 'idempotency')
if idempotency then
  redis.call('DEL', idempotency)
end
announce(job, watchers, ARGV[1], DELETED)
redis.call('DEL', job, watchers)
if ARGV[2] == '1' then
  redis.call('HSET', job, 'state', DELETED)
  redis.call('PEXPIRE', job, left_ms)
end
return 1
