-- Reads a job, and makes a gateway its watcher where it has not ended.
-- KEYS: job, watchers
-- ARGV: stream, 'end' or 'change'
-- Returns the job's fields and values in turn; nothing where there is no job.
local job, watchers = KEYS[1], KEYS[2]

-- A foreign type answers with an error table.
local state = redis.pcall('HGET', job, 'state')
if type(state) ~= 'string' or state == DELETED then
  return {}
end
if not over(state) then
  watch(job, watchers, ARGV[1], ARGV[2])
end
return redis.call('HGETALL', job)
