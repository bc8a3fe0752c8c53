package lock

// ACLOf is the smallest ACL, for the tests that connect with it.
var ACLOf = aclOf
