-- Records of jobs.

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
  if not state or not exact(attempts, max) then return nil end
  local j = {state = state, nb = nb, attempts = tonumber(attempts), max = tonumber(max), retention = retention, lease = lease, older = ''}
  if at <= #rec then
    local number, f, nonce, granted, ended, how, owner, cause, from = match(rec, GRANT, at)
    if not number or not exact(number, granted, ended, owner, cause) then return nil end
    local to = from + owner + cause
    if not older(rec, to) then return nil end
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
