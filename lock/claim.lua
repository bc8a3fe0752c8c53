-- Claims resources and attempts at jobs, for callers who may wait.
--
-- ARGV  7 waiter, or "" for callers who do not wait; then for each: place,
--       resource, tail as in lock.lua, maximum of attempts, retention (ms, 14 digits)
-- reply ok, µs, then for each: status, entry of the lock, record, rank
--       granted    also for a repeated claim that had been granted
--       held       by another, or offered to one
--       early      its delay is not over
--       done, exhausted
--       used       this nonce had a grant, which has ended
--       bad        lock or record is not ours
-- A waiter who is refused is in the queue afterwards, with so many of its run
-- before it as its rank says; one who is told done or exhausted is not. An
-- attempt is counted in the step that grants it, and never above the maximum.
local waiter = ARGV[7] ~= '' and ARGV[7]
local jobs = sub(ARGV[8], 5 + #ARGV[9], 5 + #ARGV[9]) == 'j' -- all of them, or none
local found, records
if #ARGV == 12 then
  found = {redis.call('HGET', LOCKS, ARGV[9])}
  records = {jobs and redis.call('HGET', JOBS, ARGV[8])}
end

-- The most frequent cases, before anything else is built: one claim, of a lock or
-- of a run without a record; its resource is held by another, and it queues, or is
-- free or offered to it, and nothing is to be swept.
if #ARGV == 12 and not records[1] and not PUBLISH then
  local place, r, tail, v = ARGV[8], ARGV[9], ARGV[10], found[1]
  local e = tonumber(v and match(v, '^[LGO](%d%d%d%d%d%d%d%d%d%d%d%d%d%d)')) or 0
  local barred, offered = false, not v -- offered: to this waiter, or to anybody
  if e <= now then -- free, lapsed, or not ours
  elseif find(v, '^[LG]..............[0-8]%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]%d%d%d%d%d%d%d%d%d%d%d%d%d%d.') then
    local lease = sub(v, 46, 59)
    barred = sub(v, 35, 45) ~= sub(tail, 4, 14) and (lease == NEVER or e - now <= tonumber(lease))
  elseif find(v, '^O..............f.*%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]$') then
    offered = sub(v, -11) == waiter and sub(v, 17, -28) == place
    barred = not offered and e - now <= OFFER
  end

  if barred then
    local rank = 0
    if waiter then
      local mine = 'r' .. place .. waiter
      local m = redis.call('ZRANGEBYLEX', QUEUE, '[' .. mine, '(' .. mine .. '\255', 'LIMIT', '0', '1')[1]
      rank = redis.call('ZLEXCOUNT', QUEUE, '[f' .. place, '(f' .. place .. (m and sub(m, -16) or '\255'))
      if not m then
        local arrival = format('%016.0f', us)
        permit('ZREM', QUEUE, '')
        redis.call('ZADD', QUEUE, '0', 'f' .. place .. arrival .. waiter, '0', mine .. arrival)
      end
    end
    return {'ok', stamp, 'held', v, '', tostring(rank)}
  end

  if offered and redis.call('ZCARD', QUEUE) > 0 and not v then -- not if somebody waits for it
    local anyone = 'f' .. format('%04x', #r) .. r
    offered = #redis.call('ZRANGEBYLEX', QUEUE, '[' .. anyone, '(' .. anyone .. '\255', 'LIMIT', '0', '1') == 0
  end
  if offered and not due(1)
    and not (jobs and #redis.call('ZRANGEBYSCORE', RETENTION, '-inf', num(now), 'LIMIT', '0', '1') > 0) then
    local fence, lease, rec = nextFence(), sub(tail, 15, 28), ''
    local expiry = expiryAfter(lease)
    local granted = 'L' .. expiry .. fence .. tail
    permit('HSET', LOCKS, '', '')
    if v then permit('ZREM', QUEUE, '') end
    redis.call('ZADD', EXPIRY, score(expiry), r) -- first, since this key was not read: it may not be ours
    redis.call('HSET', META, 'fence', fence)
    if jobs then -- the first attempt
      local retention, owner = ARGV[12], sub(tail, 29)
      rec = table.concat({'Jr' .. ms(0), '1', ARGV[11], retention, lease, '1', sub(granted, 16, 34), sub(tail, 4, 14), ms(now), '0', '-', #owner, '0', owner}, ' ')
      redis.call('ZADD', RETENTION, retention == NEVER and '+inf' or num(now + math.max(tonumber(retention), tonumber(lease)) + tonumber(lease)), place)
      redis.call('HSET', JOBS, place, rec)
    end
    redis.call('HSET', LOCKS, r, granted)
    if v then redis.call('ZREM', QUEUE, sub(v, 16), 'r' .. place .. waiter .. sub(v, -27, -12)) end
    return {'ok', stamp, 'granted', granted, rec, '0'}
  end
end

-- A collection of runs, of which most may be done: what is known of these is in their
-- records alone, where nobody waits for anything and nothing is to be forgotten.
local known = {} -- those that are done
if jobs and not found and not waiter and not PUBLISH then
  local places, names, left = {}, {}, 0
  for i = 8, #ARGV, 5 do
    left = left + 1
    places[left], names[left] = ARGV[i], ARGV[i + 1]
  end
  found = redis.call('HMGET', LOCKS, unpack(names))
  records = redis.call('HMGET', JOBS, unpack(places))
  if redis.call('ZCARD', QUEUE) == 0 and #redis.call('ZRANGEBYSCORE', RETENTION, '-inf', num(now), 'LIMIT', '0', '1') == 0 then
    local out = {'ok', stamp}
    for i, rec in ipairs(records) do
      if rec and not found[i] and find(rec, '^Jd%d%d%d%d%d%d%d%d%d%d%d%d%d%d ')
        and not find(rec, ' ' .. sub(ARGV[5 + 5 * i], 4, 14) .. ' ', 1, true) then
        local at = 4 * i
        out[at - 1], out[at], out[at + 1], out[at + 2] = 'done', '', rec, '0'
        known[i], left = true, left - 1
      end
    end
    if left == 0 then return out end
  end
end

--@library

local places, names, tails, maxima, retentions = arguments(8, 5)
local mine = {}
for i, r in ipairs(names) do mine[r], mine[places[i]] = true, true end
if not found then
  found = redis.call('HMGET', LOCKS, unpack(names))
  records = jobs and redis.call('HMGET', JOBS, unpack(places)) or {}
end

local grants = 0
local HISTORY = 99 -- so many older grants are remembered

-- count makes the record of a new grant out of the one before it.
local function count(j, grant)
  grant.state, grant.nb, grant.how, grant.ended, grant.cause, grant.older = 'r', ms(0), '-', '0', '', ''
  grant.attempts = 1
  if j then
    if j.how == '-' then j.how, j.ended = 'l', ms(now) end
    grant.attempts = j.attempts + 1
    local older, at = grantText(j) .. j.older, 1
    for _ = 1, HISTORY do
      local owner, cause, from = match(older, '^%d+ %d+ %S+ %d+ %d+ %S (%d+) (%d+) ()', at)
      if not owner then break end
      at = from + owner + cause
    end
    grant.older = sub(older, 1, at - 1)
  end
  grant.number = num(grant.attempts)
  return grant
end

local outdated = {} -- records whose retention is over

-- claim decides one claim. It returns status, entry, record and rank.
local function claim(i, r, place, tail, max, retention)
  local v, rec = found[i], records[i]
  local nonce, lease, owner = sub(tail, 4, 14), sub(tail, 15, 28), sub(tail, 29)
  local j = rec and parse(rec)
  if j and forgotten(place, j.state, j, v) then
    j, rec = nil, nil
    outdated[place], runs[place] = true, {'a', 0}
  end
  local offered = waiter and offeredTo(v, place, waiter)
  local arrival = offered and arrivalIn(offered) or waiter and waited() and arrivalOf(place, waiter)

  local function stay() -- in the queue
    if not waiter then return 0 end
    local from, to = below('f' .. place)
    if arrival then
      to = '(f' .. place .. arrival
    else
      enqueue(place, waiter, format('%016.0f', us))
    end
    return waited() and redis.call('ZLEXCOUNT', QUEUE, from, to) or 0
  end
  local function lift() -- of exhausted: this maximum is larger, so the lock may be offered again
    if waiter and j and j.state == 'x' then
      j.state = 'f'
      rec = putJob(place, j)
    end
  end
  local function leave(gone, n) -- out of the queue
    if arrival and not gone[memberOf(place, waiter, arrival)] then
      dequeue(place, waiter, arrival)
      gone[memberOf(place, waiter, arrival)] = true
      n = n + 1
    end
    if arrival then wakeBehind(place) end
    return n
  end

  if rec and not j then return 'bad', v end
  if holds(j, v) and j.nonce == nonce then return 'granted', v, rec end -- this very claim, sent again
  if j and find(rec, ' ' .. nonce .. ' ', 1, true) then return 'used', v, rec end
  local over = j and (j.state == 'd' and 'done' or (j.state == 'p' or j.state == 'x' and j.attempts >= max) and 'exhausted')
  if over then
    local gone = {}
    return over, release(r, v, gone, leave(gone, 0)), rec
  end

  local kind, entry, gone, n = open(r, v, nonce, place, waiter)
  if kind == 'own' then return 'granted', entry, rec end
  if kind == 'bad' then return 'bad' end
  if kind == 'held' then
    lift()
    return 'held', entry, rec, stay()
  end

  if arrival and gone[memberOf(place, waiter, arrival)] then arrival = false end -- its offer lapsed: to the tail
  local nb = j and notBefore(j.nb, nil, nil, nil, nil, j.ended)
  if j and nb > now then
    if nb ~= tonumber(j.nb) then -- the server's clock was set back
      j.nb, j.ended = ms(nb), ms(now)
      rec = putJob(place, j)
    end
    local rank = stay()
    return 'early', (v or waited()) and vacate(r, gone, n, true), rec, rank
  end
  if j and j.attempts >= max then
    if j.how == '-' then j.how, j.ended = 'l', ms(now) end
    j.state, j.max = 'x', max
    typed(RETENTION) -- before anything is written
    rec = putJob(place, j)
    keep(place, j, now)
    emit('j', r, j.owner or '', j.fence or '0', place, newest(j))
    wakeAll(place)
    return 'exhausted', vacate(r, gone, leave(gone, n)), rec
  end
  local m = not offered and waited() and nextFor(r, gone, n)
  if m and not (arrival and arrivalIn(m) >= arrival) then
    lift()
    local rank = stay()
    return 'held', offer(r, m), rec, rank
  end

  if arrival then dequeue(place, waiter, arrival) end
  local f = fenceOf() .. sub(tail, 1, 3)
  local granted = 'L' .. expiryAfter(lease) .. fence .. tail
  putLock(r, granted)
  if PUBLISH then emit('l', r, owner, f) end
  if jobs then
    j = count(j, {fence = f, nonce = nonce, granted = ms(now), owner = owner, max = max, retention = retention, lease = lease})
    rec = putJob(place, j)
    keep(place, j, now)
  end
  grants = grants + 1
  return 'granted', granted, rec
end

local out = {'ok', stamp}
for i, r in ipairs(names) do
  local status, entry, rec, rank = 'done', '', records[i], 0
  if not known[i] then status, entry, rec, rank = claim(i, r, places[i], tails[i], tonumber(maxima[i]), retentions[i]) end
  add(out, status, entry or '')
  add(out, rec or '', tostring(rank or 0))
  if outdated[places[i]] and status ~= 'granted' then
    add(delJob, places[i])
    add(delKept, places[i])
  end
end
if grants > 0 then -- each clears away more than it, and those that did not look, have added
  sweep(2 * grants + 6, mine)
  if jobs then trim(num(2 * grants), mine) end
end
flush()
return out
