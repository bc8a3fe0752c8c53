// Package recipes is the code of docs/recipes.md, which says of each what can go wrong. None of it promises that work is done
// exactly once. It is there to be copied, not to be imported.
package recipes
