-- Fails if the user lacks one of some rights, and does nothing else; Redis before
-- 7.0 cannot be asked. Stands by itself.
--
-- KEYS  1 any of the shard's, which is not touched
-- ARGV  commands that would do nothing, each after the number of its words
if not redis.acl_check_cmd then return end
local i = 1
while i <= #ARGV do
  local to = i + tonumber(ARGV[i])
  if not redis.acl_check_cmd(unpack(ARGV, i + 1, to)) then
    redis.call(unpack(ARGV, i + 1, to)) -- refused by Redis, in its own words
  end
  i = to + 1
end
