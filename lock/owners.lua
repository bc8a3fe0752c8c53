-- Reads the entries of resources.
--
-- ARGV  from 7: resources
-- reply ok, µs, then index and entry of each that has one, lapsed or not; "?"
--       for an empty one
local out = {'ok', stamp}
for i, v in ipairs(redis.call('HMGET', LOCKS, unpack(ARGV, 7))) do
  if v then add(out, tostring(i), v == '' and '?' or v) end
end
return out
