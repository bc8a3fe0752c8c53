-- Reads jobs.
--
-- ARGV  from 7 for each: place, resource
-- reply ok, µs, then for each: entry of the lock, record ("?" for an empty one),
--       number of waiters
local places, names = arguments(7, 2)
local found = redis.call('HMGET', LOCKS, unpack(names))
local records = redis.call('HMGET', JOBS, unpack(places))
local out = {'ok', stamp}
for i, place in ipairs(places) do
  local n = waited() and redis.call('ZLEXCOUNT', QUEUE, below('f' .. place)) or 0
  add(out, found[i] or '', records[i] == '' and '?' or records[i] or '')
  add(out, tostring(n))
end
return out
