//go:build race

package plant_test

const effort = 0.04 // see effort_test.go
