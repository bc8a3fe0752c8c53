-- Writes a value once more, as it is, so that the connection has written something
-- after all that its scripts found: WAIT asks replicas for nothing later than the
-- connection's own last write, and since Redis 7.2 a script that only read, such as a
-- claim that was sent again and found its own grant, does not count as one.
-- Stands by itself.
--
-- KEYS  1 meta; or locks, while the shard's slot migrates and meta may be elsewhere
-- ARGV  fields: of the first that is there
-- reply 1, or nothing, if nothing is there
-- It never changes anything.
for _, field in ipairs(ARGV) do
  local v = redis.call('HGET', KEYS[1], field)
  if v then
    redis.call('HSET', KEYS[1], field, v)
    return 1
  end
end
