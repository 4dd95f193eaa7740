-- Stores a content for at least the given time; of one that is stored already it extends the life, and never shortens it.
-- KEYS: blob, account of the tenant, then, where the content has been sent in parts, the upload and the hash of its parts
-- ARGV: time to live in milliseconds, digest, size in bytes, most bytes of the tenant or 0, then the content, or the number
--       of parts of the upload; without a content or an upload nothing new is stored
-- Returns {1} where the content is stored now, {0} where it is not, {-1, bytes that the tenant would store} where these
-- are too many. An upload is gone afterwards in every case.
local blob, account, upload, parts, life_ms = KEYS[1], KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[1])
local content = not upload and ARGV[5]
local counted_as, size_bytes, stored_bytes_max = BLOB .. ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- Ends the script: an upload that has not become the blob is dropped.
local function done(reply)
  if upload then
    redis.call('DEL', upload, parts)
  end
  return reply
end

-- The tenant has it already where its own wish has not expired; another tenant's copy is not its own.
local stored = stored_bytes(account)
local counted_until = tonumber(redis.call('HGET', account, counted_as))
if not counted_until and stored_bytes_max > 0 and stored + size_bytes > stored_bytes_max then
  return done({-1, stored + size_bytes})
end
-- A foreign type counts as a lost content, and is overwritten.
local present = redis.call('TYPE', blob).ok == 'string'
-- An upload of which Redis lost something has a hole that its length does not show: a failover leaves out what only the
-- old primary had, a restart what was not on the disk. Each part was noted in the transaction that wrote it.
local uploaded = upload and redis.call('EXISTS', upload) == 1 and #redis.call('HKEYS', parts) == tonumber(ARGV[5])
if not present and not content and not uploaded then
  return done({0})
end
local period = period_of(now_ms() + life_ms)
if not counted_until or counted_until < period then
  if counted_until then
    discount_stored(account, size_bytes, counted_until)
  end
  count_stored(account, size_bytes, period)
  redis.call('HSET', account, counted_as, period)
end
if present then
  if redis.call('PTTL', blob) < life_ms then
    redis.call('PEXPIRE', blob, life_ms)
  end
elseif uploaded then
  redis.call('RENAME', upload, blob)
  redis.call('PEXPIRE', blob, life_ms)
else
  redis.call('SET', blob, content, 'PX', life_ms)
end
return done({1})
