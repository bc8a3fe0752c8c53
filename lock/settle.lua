-- Ends attempts and releases their locks, in one step with handing them over.
--
-- ARGV  from 7 for each: place, resource, fence (19), end (d, f, x or r), delay
--       (ms), retention (ms, 14 digits), cause
-- reply ok, µs, then for each: settled, again (it had ended in this way before),
--       lost (it is not the run's grant any more, or its lease has run out),
--       gone (the record knows nothing of it), bad (not ours); and the record
-- It never changes anything but for the holder of that very grant. A failure of
-- the last attempt is exhausted at once. Returned attempts are not counted.
local places, names, fences, hows, delays, retentions, causes = arguments(7, 7)
local found = redis.call('HMGET', LOCKS, unpack(names))
local records = redis.call('HMGET', JOBS, unpack(places))
typed(EXPIRY, RETENTION) -- before anything is written

-- endOf finds how the grant with this fence ended.
local function endOf(rec, wanted)
  local at = select(7, match(rec, RECORD))
  for _ = 1, 128 do
    local _, f, _, _, _, how, owner, cause, from = match(rec, GRANT, at)
    if not f then return nil end
    if f == wanted then return how end
    at = from + owner + cause
  end
end

-- settle ends one attempt. It returns status and record.
local function settle(i, r, place, fence, how, delay)
  local rec, v = records[i], found[i]
  if not rec then return 'gone' end
  local j = parse(rec)
  if not j or look(v) == 'bad' then return 'bad' end
  if j.fence ~= fence or j.how ~= '-' then
    local ended = endOf(rec, fence)
    return not ended and 'gone' or ended == how and 'again' or 'lost', rec
  end
  if not holds(j, v) then return 'lost', rec end

  if how == 'r' then
    giveBack(j)
  else
    j.how, j.ended, j.nb = how, ms(now), ms(0)
    if how == 'd' then
      j.state = 'd'
    elseif how == 'x' then
      j.state = 'p'
    elseif j.attempts >= j.max then
      j.state = 'x'
    else
      j.state = 'f'
      if delay > 0 then j.nb = ms(now + delay) end
    end
  end
  j.cause, j.retention = causes[i], retentions[i]
  rec = putJob(place, j)
  keep(place, j, now, delay)
  if PUBLISH then emit('u', r, j.owner, fence) end
  emit('j', r, j.owner, fence, place, newest(j))
  if j.state == 'd' or j.state == 'p' or j.state == 'x' then wakeAll(place) end
  vacate(r)
  return 'settled', rec
end

local out = {'ok', stamp}
for i, r in ipairs(names) do
  local status, rec = settle(i, r, places[i], fences[i], hows[i], tonumber(delays[i]))
  add(out, status, rec or '')
end
flush()
return out
