-- Forgets runs, so that they may be worked on again.
--
-- ARGV  7 time of the first send (µs), or "0" for a first send; then for each:
--       place, resource
-- reply ok, µs, then for each: reset, held (an attempt holds the lock; nothing
--       was done), newer (there was a grant after the first send; nothing was
--       done) or bad (not ours), and the entry of the lock
local since = tonumber(ARGV[7])
local places, names = arguments(8, 2)
local found = redis.call('HMGET', LOCKS, unpack(names))
local records = redis.call('HMGET', JOBS, unpack(places))
typed(EXPIRY, RETENTION) -- before anything is written

local out, free = {'ok', stamp}, {}
for i, r in ipairs(names) do
  local place, rec, v = places[i], records[i], found[i]
  local j = rec and parse(rec)
  if rec and not j then
    add(out, 'bad', '')
  elseif since > 0 and j and j.fence and tonumber(sub(j.fence, 1, 16)) > since then
    add(out, 'newer', '')
  elseif holds(j, v) then
    add(out, 'held', v)
  else
    if rec then
      add(delJob, place)
      add(delKept, place)
    end
    runs[place] = {'a', 0}
    free[r] = i
    add(out, 'reset', '')
  end
end
for r, i in pairs(free) do release(r, found[i], {}, 0) end
flush(true)
return out
