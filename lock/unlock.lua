-- Releases locks and hands them over.
--
-- ARGV  7 time of the first send (µs), or "0" for a first send; 8 first end (ms)
--       of the entries wanted, or "0" unless all are wanted whole; 9 the first 31
--       characters of all entries wanted, which one call has granted, or ""; then
--       all resources, and with "" for each a want as entry.lua's wanted reads it
-- reply ok, µs, then index and entry of each that was not released: "" if nobody
--       has it, another's entry, an offer, "?" for one that is not ours, or "!"
--       for a grant later than the first send, where only its owner is wanted
-- It never releases a grant that is not the one wanted.
local head = ARGV[9]
local count = head ~= '' and #ARGV - 9 or (#ARGV - 9) / 2
local found = redis.call('HMGET', LOCKS, unpack(ARGV, 10, 9 + count))
waiting = redis.call('ZCARD', QUEUE)
local same = not PUBLISH and tonumber(ARGV[8]) > now
if head == '' then
  for i = 1, count do
    if found[i] ~= ARGV[9 + count + i] then same = false break end
  end
else
  for i = 1, count do
    local v = found[i]
    if not v or find(v, head, 1, true) ~= 1 then same = false break end
  end
end
if same and waiting == 0 then -- by far the most frequent case, before anything else is built
  permit('HDEL', LOCKS, '')
  if sub(head, 1, 1) == 'G' then -- if the group has others as well, it stays until it is due
    redis.call('ZREM', EXPIRY, table.concat(ARGV, '\0', 10, 9 + count))
  else
    redis.call('ZREM', EXPIRY, unpack(ARGV, 10, 9 + count))
  end
  redis.call('HDEL', LOCKS, unpack(ARGV, 10, 9 + count))
  return {'ok', stamp}
end
if same and count == 1 then -- the next one: nobody waits for it, or for the plain resource only
  local r = ARGV[10]
  local place = format('%04x', #r) .. r
  local m = redis.call('ZRANGEBYLEX', QUEUE, '[f' .. place, '(f' .. place .. '\255', 'LIMIT', '0', '1')[1]
  local plain = m and sub(m, 2, -28) == place .. 'p0000'
    and find(m, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]$', -27)
  local offered
  if plain then -- jobs' members come first
    local till = ms(now + OFFER)
    permit('ZADD', EXPIRY, '0', '')
    permit('HSET', LOCKS, '', '')
    redis.call('PUBLISH', NS .. ':wake:' .. sub(m, -11), sub(m, 2, -28))
    offered = type(redis.pcall('ZADD', EXPIRY, till, r)) == 'number' and type(redis.pcall('HSET', LOCKS, r, 'O' .. till .. m)) == 'number'
  end
  if not offered and (plain or not m) then -- who could not be offered it claims it
    permit('HDEL', LOCKS, '')
    redis.call('ZREM', EXPIRY, r)
    redis.call('HDEL', LOCKS, r)
  end
  if plain or not m then return {'ok', stamp} end
end

--@library

local since = tonumber(ARGV[7])
local names = {unpack(ARGV, 10, 9 + count)}
local fences = sub(head, 16)

local out = {'ok', stamp}
for i, r in ipairs(names) do
  local v = found[i]
  local kind = look(v)
  local want = ARGV[9 + count + i] or ''
  local meant = kind == 'held' and (head == '' and wanted(v, want) or sub(v, 16, 31) == fences)
  if meant and since > 0 and find(want, '^[W*]') and tonumber(sub(v, 16, 31)) > since then
    add(out, tostring(i), '!')
  elseif meant then
    if PUBLISH then emit('u', r, ownerIn(v), fenceIn(v)) end
    vacate(r)
  elseif kind == 'bad' then
    add(out, tostring(i), '?')
  elseif kind == 'held' or kind == 'offer' then
    add(out, tostring(i), v)
  else
    add(out, tostring(i), '')
  end
end
flush(true)
return out
