-- Compares jobs whose wake-up may have been lost; watches again those that were created again.
-- KEYS: the jobs, then their watchers in the same order
-- ARGV: stream, then 'end' or 'change' for each job
-- Returns for each job its revision, or -1 where it has ended or is not there: its waiters have to read it.
local count, looks = #KEYS / 2, {}
for i = 1, count do
  local present = redis.pcall('HMGET', KEYS[i], 'state', 'revision')
  if not present[1] or over(present[1]) then
    looks[i] = -1
  else
    watch(KEYS[i], KEYS[count + i], ARGV[1], ARGV[i + 1])
    -- A foreign value is no number, and a nil would cut off the answers for the jobs after it.
    looks[i] = tonumber(present[2]) or -1
  end
end
return looks
