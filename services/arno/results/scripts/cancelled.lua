-- Returns for each job 1 where somebody asked to stop it or deleted it, else 0.
-- KEYS: the jobs
local stops = {}
for i = 1, #KEYS do
  -- Of what is no job nothing is known: its error table holds neither field.
  local present = redis.pcall('HMGET', KEYS[i], 'state', 'cancel_requested')
  stops[i] = (present[1] == DELETED or present[2] == '1') and 1 or 0
end
return stops
