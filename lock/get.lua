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
  local rec = records[i]
  if rec == '' then rec = '?' end
  if rec and find(rec, RECORD) and forgotten(place, sub(rec, 2, 2)) then rec = nil end
  add(out, found[i] or '', rec or '')
  add(out, tostring(n))
end
return out
