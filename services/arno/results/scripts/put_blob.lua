-- Stores a content for at least the given time; of one that is stored already it extends the life, and never shortens it.
-- KEYS: blob, account of the tenant
-- ARGV: time to live in milliseconds, digest, size in bytes, most bytes of the tenant or 0, then the content; without a
--       content nothing new is stored
-- Returns {1} where the content is stored now, {0} where it is not, {-1, bytes that the tenant would store} where these
-- are too many.
local blob, account, life_ms, content = KEYS[1], KEYS[2], tonumber(ARGV[1]), ARGV[5]
local counted_as, size_bytes, stored_bytes_max = BLOB .. ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- The tenant has it already where its own wish has not expired; another tenant's copy is not its own.
local stored = stored_bytes(account)
local counted_until = tonumber(redis.call('HGET', account, counted_as))
if not counted_until and stored_bytes_max > 0 and stored + size_bytes > stored_bytes_max then
  return {-1, stored + size_bytes}
end
-- A foreign type counts as a lost content, and SET overwrites it.
local present = redis.call('TYPE', blob).ok == 'string'
if not present and not content then
  return {0}
end
local period = period_of(now_ms() + life_ms)
if not counted_until or counted_until < period then
  if counted_until then
    discount_stored(account, size_bytes, counted_until)
  end
  count_stored(account, size_bytes, period)
  redis.call('HSET', account, counted_as, period)
end
if not present then
  redis.call('SET', blob, content, 'PX', life_ms)
elseif redis.call('PTTL', blob) < life_ms then
  redis.call('PEXPIRE', blob, life_ms)
end
return {1}
