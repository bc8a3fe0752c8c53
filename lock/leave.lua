-- Takes waiters out of the queue who have left, and gives back grants that
-- reached nobody.
--
-- ARGV  7 waiter, or ""; then for each: place, resource, nonce or "", fence of
--       the grant that did reach its caller (19) or "", until when a send of that
--       claim may still be executed (ms)
-- reply ok, µs, then for each: left, or wait: that time has not passed, nothing was done
-- It never touches a grant but one with that nonce and another fence.
local waiter = ARGV[7] ~= '' and ARGV[7]
local places, names, nonces, reals, guards = arguments(8, 5)
local found = redis.call('HMGET', LOCKS, unpack(names))
typed(EXPIRY, RETENTION) -- before anything is written

local function leave(r, v, place, nonce, real)
  local gone, n = {}, 0
  local arrival = waiter and waited() and arrivalOf(place, waiter)
  if arrival then
    dequeue(place, waiter, arrival)
    gone[memberOf(place, waiter, arrival)], n = true, 1
    if sub(place, 5 + #r, 5 + #r) == 'j' and find(runOf(place)[1], '[dxp]') then
      wakeBehind(place) -- as one does who is told that the run is over
    end
  end
  if not (nonce ~= '' and look(v) == 'held' and nonceIn(v) == nonce and fenceIn(v) ~= real) then
    if waiter then release(r, v, gone, n) end
    return
  end
  if PUBLISH then emit('u', r, ownerIn(v), fenceIn(v)) end
  local rec = sub(place, 5 + #r, 5 + #r) == 'j' and redis.call('HGET', JOBS, place)
  local j = rec and parse(rec)
  if holds(j, v) then
    giveBack(j)
    putJob(place, j)
    keep(place, j, now)
  end
  vacate(r, gone, n)
end

local out = {'ok', stamp}
for i, r in ipairs(names) do
  if now <= tonumber(guards[i]) then
    add(out, 'wait')
  else
    leave(r, found[i], places[i], nonces[i], reals[i])
    add(out, 'left')
  end
end
flush()
return out
