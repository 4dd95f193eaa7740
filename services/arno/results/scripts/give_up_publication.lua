-- Ends the turn of one who published a job and does not know whether the bus has it; another's turn stays.
-- KEYS: job
-- ARGV: whose turn
-- What is no job answers with an error table.
local publishing = redis.pcall('HGET', KEYS[1], 'publishing')
if type(publishing) == 'string' and string.match(publishing, '^%d+ (.*)$') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'publishing')
end
