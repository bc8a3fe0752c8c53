-- Who waits, and how a lock is handed over to whoever is next.

-- Parts of a member of queue.
local function placeIn(m) return sub(m, 2, -28) end
local function arrivalIn(m) return sub(m, -27, -12) end
local function waiterIn(m) return sub(m, -11) end
local function resourceIn(place) return sub(place, 5, 4 + (tonumber(sub(place, 1, 4), 16) or 0)) end

local function range(from, to, offset, count)
  return redis.call('ZRANGEBYLEX', QUEUE, from, to, 'LIMIT', offset, count)
end
local function below(prefix) return '[' .. prefix, '(' .. prefix .. '\255' end

-- arrivalOf returns when this waiter queued here, or nil.
local function arrivalOf(place, waiter)
  local from, to = below('r' .. place .. waiter)
  local m = range(from, to, '0', '1')[1]
  return m and sub(m, -16)
end

local function memberOf(place, waiter, arrival) return 'f' .. place .. arrival .. waiter end

-- enqueue notes a waiter, who must be able to leave again.
local function enqueue(place, waiter, arrival)
  permit('ZRANGEBYLEX', QUEUE, '-', '-')
  permit('ZREM', QUEUE, '')
  add(setQueue, '0', memberOf(place, waiter, arrival))
  add(setQueue, '0', 'r' .. place .. waiter .. arrival)
end

local function dequeue(place, waiter, arrival)
  add(delQueue, memberOf(place, waiter, arrival), 'r' .. place .. waiter .. arrival)
end

local function wake(m)
  add(wakes, waiterIn(m), placeIn(m))
end

-- waited tells whether anybody waits for anything in this shard.
local function waited()
  waiting = waiting or redis.call('ZCARD', QUEUE)
  return waiting > 0
end

-- Wakes the first 256 of a run; each that is then answered wakes one more.
local CROWD = '256'
local function wakeAll(place)
  if not waited() then return end
  local from, to = below('f' .. place)
  for _, m in ipairs(range(from, to, '0', CROWD)) do wake(m) end
end
local function wakeBehind(place)
  local from, to = below('f' .. place)
  for _, m in ipairs(range(from, to, CROWD, '1')) do wake(m) end
end

-- notBefore returns when the delay of a run is over, from its record and the
-- fields of its newest grant. If that ended in the future, the server's clock was
-- set back since: then the whole delay is still to come.
local function notBefore(nb, _, _, _, _, ended)
  ended = tonumber(ended or '0')
  return ended > now and now + (tonumber(nb) - ended) or tonumber(nb)
end

-- forgotten tells whether the retention of a run that nobody holds is over: then
-- its record is as good as gone. Of one whose worker died, the entry tells when,
-- if it is still there: v, of the record j.
local function forgotten(place, state, j, v)
  if state == 'r' then
    if not j or j.retention == NEVER or look(v) ~= 'lapsed' or fenceIn(v) ~= j.fence then return false end
    return tonumber(sub(v, 2, 15)) + math.max(tonumber(j.retention), tonumber(j.lease)) <= now
  end
  local till = redis.call('ZSCORE', RETENTION, place)
  return till and find(till, '^%d') and tonumber(till) <= now
end

-- State and not-before of the runs that were read, by place.
local runs = {}
local function runOf(place)
  local run = runs[place]
  if not run then
    local rec = redis.call('HGET', JOBS, place) or ''
    local s, nb, _, _, _, _, at = match(rec, RECORD)
    if s and find(s, '[dxp]') and forgotten(place, s) then s = nil end
    run = {s or 'a', s and notBefore(nb, match(rec, GRANT, at)) or 0}
    runs[place] = run
  end
  return run
end

-- nextFor returns the oldest waiter who may be granted r now, and the oldest
-- of those who are too early. Only the oldest of each run is looked at. gone
-- are n members that are about to be removed.
local function nextFor(r, gone, n)
  local from, to = below('f' .. format('%04x', #r) .. r)
  local kindAt = 5 + #r
  local best, bestAt, early, earlyAt
  for _ = 1, 256 do
    local m
    for _, c in ipairs(range(from, to, '0', tostring(n + 1))) do
      if not gone[c] then
        m = c
        break
      end
    end
    if not m then break end
    if find(m, MEMBER) then
      local place, at = placeIn(m), arrivalIn(m)
      local run = sub(place, kindAt, kindAt) == 'j' and runOf(place) or {'a', 0}
      if run[1] ~= 'd' and run[1] ~= 'x' and run[1] ~= 'p' then
        if run[2] > now then
          if not early or at < earlyAt then early, earlyAt = m, at end
        elseif not best or at < bestAt then
          best, bestAt = m, at
        end
      end
      from = '(f' .. place .. '\255'
    else
      from = '(' .. m
    end
  end
  return best, early
end

-- offer makes the entry of r an offer to m, wakes m, and returns the entry.
local function offer(r, m)
  local v = 'O' .. ms(now + OFFER) .. m
  putLock(r, v)
  wake(m)
  return v
end

-- vacate hands r over to whoever is next, or removes its entry. Where only too
-- early ones wait, it wakes the oldest of them, unless that is silent.
local function vacate(r, gone, n, silent)
  if waited() then
    local m, early = nextFor(r, gone or {}, n or 0)
    if m then return offer(r, m) end
    if early and not silent then wake(early) end
  end
  dropLock(r)
end

-- retire takes the waiter of a lapsed offer out of the queue, and notes it in
-- gone; it returns how many are gone now.
local function retire(v, gone, n)
  local m = sub(v, 16)
  if gone[m] then return n end
  dequeue(placeIn(m), waiterIn(m), arrivalIn(m))
  gone[m] = true
  return n + 1
end

-- offeredTo returns the member to whom an entry is offered, if it is this waiter
-- at this place and the offer stands.
local function offeredTo(v, place, waiter)
  if look(v) == 'offer' then
    local m = sub(v, 16)
    return waiterIn(m) == waiter and placeIn(m) == place and m
  end
end

-- open clears the way to r for a claim with this nonce, by this waiter at this
-- place (nil: one that does not wait). It returns
--   own, held or bad, with the entry; or
--   open: free, lapsed, a lapsed offer, or offered to this waiter; then the
--   caller must replace or remove the entry. With it come the members that are
--   about to be removed, and their number.
local function open(r, v, nonce, place, waiter)
  local kind, e = look(v)
  if kind == 'free' then return 'open', nil, {}, 0 end
  if kind == 'bad' then return 'bad', '' end
  if kind == 'held' then
    if nonceIn(v) == nonce then return 'own', v end
    local till, cut = lasting(e, leaseIn(v))
    if cut then
      v = 'L' .. ms(till) .. sub(v, 16)
      putLock(r, v)
    end
    return 'held', v
  end
  if kind == 'lapsed' then
    expired(r, v)
    return 'open', nil, {}, 0
  end
  if kind == 'offer' then
    if waiter and offeredTo(v, place, waiter) then return 'open', nil, {}, 0 end
    local till, cut = lasting(e, num(OFFER))
    if cut then
      v = 'O' .. ms(till) .. sub(v, 16)
      putLock(r, v)
    end
    return 'held', v
  end
  local gone = {}
  return 'open', nil, gone, retire(v, gone, 0)
end

-- release is for one that does not take r: gone are n members about to be
-- removed. What is free, lapsed, or offered to one of them is handed over.
local function release(r, v, gone, n)
  local kind = look(v)
  if kind == 'free' and not waited() or kind == 'held' or kind == 'bad' then return v end
  if kind == 'offer' and not gone[sub(v, 16)] then return v end
  if kind == 'lapsed' then expired(r, v) end
  if kind == 'stale' then n = retire(v, gone, n) end
  return vacate(r, gone, n)
end

-- cut returns the resources of a group, n if there are more, and what is then
-- left of it; which is nothing, if it would be too short for a group.
local function cut(group, n)
  local names, at = {}, 1
  while at <= #group do
    if #names >= n and #group - at >= 512 then return names, sub(group, at) end
    local to = find(group, '\0', at, true) or #group + 1
    names[#names + 1] = sub(group, at, to - 1)
    at = to + 1
  end
  return names
end

-- overdue looks at about n resources whose end in the index is past. It returns
-- those that are not in mine, which of them are there by themselves, and how many
-- it looked at. It takes groups apart, 50 of one at least, since to put the rest
-- back costs more than these; but no rest that is a group by itself already, whose
-- end would then be this one.
local function overdue(n, mine)
  local names, single, seen, from, looked = {}, {}, {}, 0, 0
  local size = n < 50 and 3 or 16 -- of a page: each may be a long group
  while looked < n do
    local page = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', num(now), 'LIMIT', tostring(from), tostring(size))
    for _, m in ipairs(page) do
      if looked >= n then break end
      if #m > 512 then
        local till = redis.call('ZSCORE', EXPIRY, m)
        local parts, left = cut(m, math.max(n - looked, 50))
        if left and redis.call('ZSCORE', EXPIRY, left) then parts, left = cut(m, #m), nil end
        looked = looked + #parts
        for _, r in ipairs(parts) do
          if not seen[r] then
            seen[r] = true
            if mine[r] then add(backExpiry, till, r) else names[#names + 1] = r end
          end
        end
        add(delGroup, m)
        if left then add(backExpiry, till, left) end
      else
        looked = looked + 1
        if not mine[m] and not seen[m] then
          names[#names + 1], single[m], seen[m] = m, true, true
        end
      end
    end
    if #page < size then break end
    from = from + size
  end
  return names, single, looked
end

-- sweep settles about n resources of the shard that may have expired; but not
-- those in mine. It returns whether there may be more.
local function sweep(n, mine)
  n = tonumber(n)
  local names, single, looked = overdue(n, mine)
  if #names == 0 then return false end
  local found = redis.call('HMGET', LOCKS, unpack(names))
  for i, r in ipairs(names) do
    local v = found[i]
    local kind = look(v)
    if kind == 'lapsed' or kind == 'stale' then
      release(r, v, {}, 0)
    elseif (kind == 'held' or kind == 'offer') and sub(v, 1, 1) ~= 'G' then
      add(setExpiry, score(sub(v, 2, 15)), r)
    elseif single[r] then -- free, or in a group
      add(delExpiry, r)
    end
  end
  return looked >= n
end
