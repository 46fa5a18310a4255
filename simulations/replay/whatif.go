package replay

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
)

// objectives are the names of objectives, as the pool's configuration has them.
var objectives = map[string]model.Objective{"balanced": model.Balanced, "throughput": model.Throughput, "latency": model.Latency}

// looks is the key that nothing can be asked of: when looks were taken, the journal has.
const looks = "interval"

// Keys lists what can be set: the JSON names of [controller.Config].
func Keys() (keys []string) {
	t := reflect.TypeFor[controller.Config]()
	for i := range t.NumField() {
		if k := key(t.Field(i)); k != looks {
			keys = append(keys, k)
		}
	}
	return keys
}

func key(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// UnknownKeyError is a key that no configuration has.
type UnknownKeyError struct{ Key string }

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("%q is not a key of the controller's configuration", e.Key)
}

// Set changes one key of a configuration. Durations are Go durations (50ms),
// objectives their names.
func Set(cfg *controller.Config, name, value string) error {
	if name == looks {
		return fmt.Errorf("%s cannot be another: the looks were taken when they were, and what others would have seen no journal tells; autotune simulate shows what it changes", name)
	}
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		if key(v.Type().Field(i)) == name {
			return set(v.Field(i), name, value)
		}
	}
	return &UnknownKeyError{name}
}

func set(field reflect.Value, name, value string) error {
	switch p := field.Addr().Interface().(type) {
	case *int:
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 1_000_000 {
			return fmt.Errorf("%s is %q; it may be a number from 0 to 1000000", name, value)
		}
		*p = n
	case *bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%s is %q; it may be true or false", name, value)
		}
		*p = b
	case *time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return fmt.Errorf("%s is %q; it may be a duration, as 50ms or 1s", name, value)
		}
		*p = d
	case *model.Objective:
		o, ok := objectives[value]
		if !ok {
			return fmt.Errorf("%s is %q; it may be balanced, latency or throughput", name, value)
		}
		*p = o
	default:
		return fmt.Errorf("%s cannot be set here", name)
	}
	return nil
}

// Get is a key's value in words.
func Get(cfg controller.Config, name string) string {
	v := reflect.ValueOf(cfg)
	for i := range v.NumField() {
		if key(v.Type().Field(i)) != name {
			continue
		}
		if o, ok := v.Field(i).Interface().(model.Objective); ok {
			for word, value := range objectives {
				if value == o {
					return word
				}
			}
		}
		return fmt.Sprint(v.Field(i).Interface())
	}
	return ""
}
