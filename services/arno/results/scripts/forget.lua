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
local wanted = redis.call('HGETALL', watchers)
local bytes, period, account = read_stored(job)
-- Removed before anything is written: a full Redis refuses a script whose first write may need memory, and then every
-- job would stay until its time to live is over.
redis.call('DEL', job, watchers)
if idempotency then
  redis.call('DEL', idempotency)
end
if bytes then
  pcall(discount_stored, account, bytes, period)
end
wake(wanted, ARGV[1], DELETED)
if ARGV[2] == '1' then
  redis.call('HSET', job, 'state', DELETED)
  redis.call('PEXPIRE', job, left_ms)
end
return 1
