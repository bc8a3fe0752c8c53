-- Forgets runs, so that they may be worked on again.
--
-- ARGV  from 7 for each: place, resource
-- reply ok, µs, then for each: reset, held (an attempt holds the lock; nothing
--       was done) or bad (not ours), and the entry of the lock
local places, names = arguments(7, 2)
local found = redis.call('HMGET', LOCKS, unpack(names))
local records = redis.call('HMGET', JOBS, unpack(places))
typed(EXPIRY, RETENTION) -- before anything is written

local out = {'ok', stamp}
for i, r in ipairs(names) do
  local place, rec, v = places[i], records[i], found[i]
  local j = rec and parse(rec)
  if rec and not j then
    add(out, 'bad', '')
  elseif holds(j, v) then
    add(out, 'held', v)
  else
    if rec then
      add(delJob, place)
      add(delKept, place)
    end
    runs[place] = {'a', 0}
    release(r, v, {}, 0)
    add(out, 'reset', '')
  end
end
flush(true)
return out
