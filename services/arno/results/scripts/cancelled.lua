-- Returns for each job 1 where it is to be cancelled or was deleted, else 0.
-- KEYS: the jobs
local stops = {}
for i = 1, #KEYS do
  -- The error table for a foreign type holds neither field.
  local present = redis.pcall('HMGET', KEYS[i], 'state', 'cancel_requested')
  stops[i] = (present[1] == DELETED or present[2] == '1') and 1 or 0
end
return stops
