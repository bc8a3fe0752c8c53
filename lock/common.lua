-- Stands in every script that needs more than the guard of head.lua: what reads
-- and writes entries, hands over, and sweeps. Shapes are head.lua's; they are
-- written out, since a call would build them anew each time.
local LOCK = '^L%d%d%d%d%d%d%d%d%d%d%d%d%d%d[0-8]%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]%d%d%d%d%d%d%d%d%d%d%d%d%d%d.'
local UNTIL = '^O%d%d%d%d%d%d%d%d%d%d%d%d%d%df.*%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]$'
local MEMBER = '^f.*%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]$'
local RECORD = '^J([rfadxp])(%d%d%d%d%d%d%d%d%d%d%d%d%d%d) (%d+) (%d+) (%d%d%d%d%d%d%d%d%d%d%d%d%d%d) (%d%d%d%d%d%d%d%d%d%d%d%d%d%d) ()'
local GRANT = '^(%d+) ([0-8]%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d) ([%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]) (%d+) (%d+) ([-dfxrl]) (%d+) (%d+) ()'

-- What will be written, by flush.
local setLock, delLock, setExpiry, delExpiry = {}, {}, {}, {}
local setQueue, delQueue = {}, {}
local setJob, delJob, setKept, delKept = {}, {}, {}, {}
local wakes, events = {}, {}
local fence -- this call's first 16 digits, once a grant needs one

local function add(list, a, b)
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

local function fenceOf()
  fence = fence or nextFence()
  return fence
end

-- emit(kind, …) notes one event: its kind and its fields, each with its length.
local function emit(kind, ...)
  local parts = {kind}
  for _, s in ipairs({...}) do
    add(parts, #s .. ':' .. s)
  end
  add(events, table.concat(parts))
end

-- flush writes all that was noted: counters, messages, what is added, what is
-- removed. If the first of these is refused (no memory, no rights, not the
-- primary), nothing is written. With soft, offers that cannot be stored are given
-- up: what is to be released is released all the same, and whoever was to be
-- offered it is woken and claims.
local function flush(soft)
  local put, failed = soft and redis.pcall or redis.call
  local function write(command, key, list)
    if #list > 0 and not failed then
      local reply = put(command, key, unpack(list))
      failed = type(reply) == 'table' and reply.err
    end
  end
  local function remove(command, key, list)
    if #list > 0 then redis.call(command, key, unpack(list)) end
  end
  local set, first = {}
  if fence then add(set, 'fence', fence) end
  if #events > 0 then
    first = meta[3] and tonumber(meta[3]) + 1 or us
    add(set, 'event', num(first + #events - 1))
  end
  write('HSET', META, set)
  for i = 1, #wakes, 2 do
    redis.call('PUBLISH', NS .. ':wake:' .. wakes[i], wakes[i + 1])
  end
  if first and not failed then
    redis.call('PUBLISH', NS .. ':events', table.concat({ARGV[2], num(first), #events, stamp, table.concat(events)}, ' '))
  end
  write('ZADD', EXPIRY, setExpiry) -- of another type, perhaps, which no script has read
  write('ZADD', RETENTION, setKept)
  write('ZADD', QUEUE, setQueue)
  write('HSET', JOBS, setJob)
  write('HSET', LOCKS, setLock)
  if failed then
    for i = 1, #setLock, 2 do
      add(delLock, setLock[i])
      add(delExpiry, setLock[i])
    end
  end
  remove('ZREM', EXPIRY, delExpiry)
  remove('HDEL', LOCKS, delLock)
  remove('ZREM', QUEUE, delQueue)
  remove('HDEL', JOBS, delJob)
  remove('ZREM', RETENTION, delKept)
end

-- look tells what an entry of locks is: free, held, lapsed, offer, stale (a
-- lapsed offer) or bad; and its end in ms.
local function look(v)
  if not v then return 'free' end
  local e = tonumber(sub(v, 2, 15))
  if find(v, LOCK) then
    return e > now and 'held' or 'lapsed', e
  end
  if find(v, UNTIL) then
    return e > now and 'offer' or 'stale', e
  end
  return 'bad'
end

local function fenceIn(v) return sub(v, 16, 34) end
local function nonceIn(v) return sub(v, 35, 45) end
local function leaseIn(v) return sub(v, 46, 59) end
local function ownerIn(v) return sub(v, 60) end

-- wanted tells whether this is the lock that a caller means: by its whole entry,
-- by F fence owner, by W owner, or * for any.
local function wanted(v, want)
  if v == want then return true end
  local c = sub(want, 1, 1)
  if c == 'L' then return fenceIn(v) == fenceIn(want) end
  if c == 'F' then return fenceIn(v) == sub(want, 2, 20) and ownerIn(v) == sub(want, 21) end
  if c == 'W' then return ownerIn(v) == sub(want, 2) end
  return c == '*'
end

local function putLock(r, v)
  add(setLock, r, v)
  add(setExpiry, score(sub(v, 2, 15)), r)
end

local function dropLock(r)
  add(delLock, r)
  add(delExpiry, r)
end

-- expired reports a lapsed lock. Whoever calls it removes or replaces the entry.
local function expired(r, v)
  emit('x', r, ownerIn(v), fenceIn(v))
end

-- lasting cuts an end that is further away than it was set: the server's clock
-- was set back. It returns the end, and whether it was cut.
local function lasting(e, lease)
  if lease ~= NEVER and e - now > tonumber(lease) then return now + tonumber(lease), true end
  return e, false
end

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

local function enqueue(place, waiter, arrival)
  add(setQueue, '0', memberOf(place, waiter, arrival))
  add(setQueue, '0', 'r' .. place .. waiter .. arrival)
end

local function dequeue(place, waiter, arrival)
  add(delQueue, memberOf(place, waiter, arrival), 'r' .. place .. waiter .. arrival)
end

local function wake(m)
  add(wakes, waiterIn(m), placeIn(m))
end

-- Wakes the first 256 of a run; each that is then answered wakes one more.
local CROWD = '256'
local function wakeAll(place)
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
-- its record is as good as gone.
local function forgotten(place, state)
  if state == 'r' then return false end
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

-- waited tells whether anybody waits for anything in this shard.
local function waited()
  waiting = waiting or redis.call('ZCARD', QUEUE)
  return waiting > 0
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

-- sweep settles up to n expired entries of the shard; but not those in mine.
-- It returns whether there may be more.
local function sweep(n, mine)
  local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', num(now), 'LIMIT', '0', n)
  local names = {}
  for _, r in ipairs(due) do
    if not mine[r] then add(names, r) end
  end
  if #names == 0 then return false end
  local found = redis.call('HMGET', LOCKS, unpack(names))
  for i, r in ipairs(names) do
    local v = found[i]
    local kind = look(v)
    if kind == 'held' or kind == 'offer' then
      add(setExpiry, score(sub(v, 2, 15)), r)
    elseif kind == 'lapsed' or kind == 'stale' then
      release(r, v, {}, 0)
    else
      add(delExpiry, r)
    end
  end
  return #due == tonumber(n)
end

-- exact tells whether numbers are small enough to be counted with.
local function exact(...)
  for _, n in ipairs({...}) do
    if #n > 16 or tonumber(n) > 9e15 then return false end
  end
  return true
end

-- older tells whether the grants from a position on are ours.
local function older(rec, at)
  while at <= #rec do
    local number, _, _, granted, ended, _, owner, cause, from = match(rec, GRANT, at)
    if not number or not exact(number, granted, ended, owner, cause) then return false end
    at = from + owner + cause
  end
  return at == #rec + 1
end

-- parse reads a record and its newest grant; nil if it is not ours.
local function parse(rec)
  local state, nb, attempts, max, retention, lease, at = match(rec, RECORD)
  if not state or not exact(attempts, max) or not older(rec, at) then return nil end
  local j = {state = state, nb = nb, attempts = tonumber(attempts), max = tonumber(max), retention = retention, lease = lease, older = ''}
  if at <= #rec then
    local number, f, nonce, granted, ended, how, owner, cause, from = match(rec, GRANT, at)
    local to = from + owner + cause
    j.number, j.fence, j.nonce, j.granted, j.ended, j.how = number, f, nonce, granted, ended, how
    j.owner, j.cause = sub(rec, from, from + owner - 1), sub(rec, from + owner, to - 1)
    j.older = sub(rec, to)
  end
  return j
end

local function grantText(j)
  if not j.fence then return '' end
  return table.concat({j.number, j.fence, j.nonce, j.granted, j.ended, j.how, #j.owner, #j.cause, ''}, ' ') .. j.owner .. j.cause
end

-- newest is a record without the older grants.
local function newest(j)
  return 'J' .. j.state .. j.nb .. ' ' .. table.concat({num(j.attempts), num(j.max), j.retention, j.lease, ''}, ' ') .. grantText(j)
end

local function putJob(place, j)
  local rec = newest(j) .. j.older
  add(setJob, place, rec)
  runs[place] = {j.state, tonumber(j.nb)}
  return rec
end

-- holds tells whether the newest grant of a record has the lock.
local function holds(j, v)
  return j and j.how == '-' and look(v) == 'held' and fenceIn(v) == j.fence
end

-- giveBack ends the newest grant without counting it.
local function giveBack(j)
  j.how, j.ended, j.nb, j.attempts = 'r', ms(now), ms(0), j.attempts - 1
  j.state = j.attempts > 0 and 'f' or 'a'
end

-- keep says how long to remember a run: max(retention, lease, delay) + lease
-- from the given time on.
local function keep(place, j, from, delay)
  if j.retention == NEVER then
    add(setKept, '+inf', place)
  else
    local lease = tonumber(j.lease)
    add(setKept, num(from + math.max(tonumber(j.retention), lease, delay or 0) + lease), place)
  end
end

-- trim forgets up to n runs whose retention is over, but none that is held or
-- whose end was not noticed until now; nor those in mine.
local function trim(n, mine)
  local due = redis.call('ZRANGEBYSCORE', RETENTION, '-inf', num(now), 'LIMIT', '0', n)
  for _, place in ipairs(due) do
    if not mine[place] then
      local rec = redis.call('HGET', JOBS, place)
      local j = rec and parse(rec)
      if not j then
        add(delKept, place)
      elseif j.state == 'r' then
        local v = redis.call('HGET', LOCKS, resourceIn(place))
        if holds(j, v) then
          keep(place, j, tonumber(sub(v, 2, 15)))
        else
          j.state, j.how, j.ended = 'f', 'l', ms(now)
          putJob(place, j)
          keep(place, j, now)
        end
      else
        add(delJob, place)
        add(delKept, place)
      end
    end
  end
end

-- arguments returns the columns of the script's own arguments, from ARGV[from]
-- on, width at a time.
local function arguments(from, width)
  local columns = {}
  for c = 1, width do
    local column = {}
    for i = from + c - 1, #ARGV, width do column[#column + 1] = ARGV[i] end
    columns[c] = column
  end
  return unpack(columns)
end

-- typed fails if a sorted set that may be written is something else.
local function typed(...)
  for _, key in ipairs({...}) do redis.call('ZSCORE', key, '') end
end
