-- Renews leases while their shard's slot migrates, when not all of its keys are
-- on one node: it needs locks alone. The expiry index stays behind; whoever
-- sweeps corrects it. Stands by itself.
--
-- KEYS  1 locks
-- ARGV  1 lease (14 digits); then for each: resource, fence (19)
-- reply ok, µs, then index and entry of each that was not renewed, as in extend.lua
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease, never = ARGV[1], '99999999999999'
local fresh = lease == never and never or string.format('%014.0f', now + tonumber(lease))
local shape = '^[LG]' .. string.rep('%d', 14) .. '[0-8]' .. string.rep('%d', 18) .. string.rep('[%w_%-]', 11) .. string.rep('%d', 14) .. '.'

local names, write = {}, {}
local out = {'ok', string.format('%.0f', time[1] * 1000000 + time[2])}
for i = 2, #ARGV, 2 do names[#names + 1] = ARGV[i] end
for i, v in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
  local note
  if not v then
    note = ''
  elseif not string.find(v, shape) then
    note = string.sub(v, 1, 1) == 'O' and v or '?'
  elseif tonumber(string.sub(v, 2, 15)) <= now then
    note = ''
  elseif string.sub(v, 16, 34) ~= ARGV[1 + 2 * i] or string.sub(v, 2, 15) > fresh then
    note = v
  else
    write[#write + 1] = names[i]
    write[#write + 1] = 'L' .. fresh .. string.sub(v, 16, 45) .. lease .. string.sub(v, 60)
  end
  if note then
    out[#out + 1] = tostring(i)
    out[#out + 1] = note
  end
end
if #write > 0 then redis.call('HSET', KEYS[1], unpack(write)) end
return out
