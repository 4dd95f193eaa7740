-- Stores a content for at least the given time; of one that is stored already it extends the life, and never shortens it.
-- KEYS: blob
-- ARGV: time to live in milliseconds, then the content; without a content nothing new is stored
-- Returns 1 where the content is stored now.
local blob, life_ms, content = KEYS[1], tonumber(ARGV[1]), ARGV[2]

-- A foreign type counts as a lost content, and SET overwrites it.
if redis.call('TYPE', blob).ok == 'string' then
  if redis.call('PTTL', blob) < life_ms then
    redis.call('PEXPIRE', blob, life_ms)
  end
  return 1
end
if not content then
  return 0
end
redis.call('SET', blob, content, 'PX', life_ms)
return 1
