-- Compares jobs whose wake-up may have been lost; watches again those that were created again.
-- KEYS: the jobs, then their watchers in the same order
-- ARGV: stream, milliseconds after which a job has missed its deadline, then 'end' or 'change' for each job
-- Returns for each job its revision and its incarnation, or '' where its waiters have to read it: it has ended, is not
-- there, or no worker is going to end it.
local count, looks = #KEYS / 2, {}
for i = 1, count do
  local present = redis.pcall('HMGET', KEYS[i], 'state', 'revision', 'incarnation')
  if not present[1] or over(present[1]) or abandoned(KEYS[i], tonumber(ARGV[2])) then
    looks[i] = ''
  else
    watch(KEYS[i], KEYS[count + i], ARGV[1], ARGV[i + 2])
    -- A field that is not there is false; a nil would cut off the answers for the jobs after it.
    looks[i] = (present[2] or '') .. ' ' .. (present[3] or '')
  end
end
return looks
