-- Looks after jobs whose wake-up may have been lost; watches again those that were made anew.
-- KEYS: the jobs, then their watchers in the same order
-- ARGV: stream, then 'end' or 'change' for each job
-- Returns for each job its revision, or -1 where it has ended or is not there: whoever waits has to look.
local count, looks = #KEYS / 2, {}
for i = 1, count do
  local present = redis.pcall('HMGET', KEYS[i], 'state', 'revision')
  if not present[1] or over(present[1]) then
    looks[i] = -1
  else
    watch(KEYS[i], KEYS[count + i], ARGV[1], ARGV[i + 1])
    -- What others wrote there is no number, and a hole would cut off the answer about all others.
    looks[i] = tonumber(present[2]) or -1
  end
end
return looks
