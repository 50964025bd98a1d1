package segstore

import (
	"reflect"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// fillIn sets everything in v that can be set to something that is not zero.
func fillIn(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1, 2)))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" { // which a queue does not keep
				fillIn(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillIn(v.Index(0))
		fillIn(v.Index(1))
	case reflect.Array:
		for i := range v.Len() {
			fillIn(v.Index(i))
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint8:
		v.SetUint(3)
	default:
		panic("a field of a kind that the test does not know: " + v.Type().String())
	}
}

// A field that is added to one of the types, and not to the codec, would be
// lost without a word.
func TestNoFieldIsForgotten(t *testing.T) {
	var want message
	var env sqmail.Envelope
	var attempt queue.Attempt
	fillIn(reflect.ValueOf(&env).Elem())
	fillIn(reflect.ValueOf(&attempt).Elem())
	want.env, want.journal = env, []queue.Attempt{attempt}
	meta, _ := encodeMessage(&want, flagFull)
	d := decoder{b: meta}
	d.head(flagFull)
	if got := d.envelope(); !reflect.DeepEqual(got, env) {
		t.Errorf("\n got %+v\nwant %+v", got, env)
	}
	if got := d.journal(); d.err != nil || !reflect.DeepEqual(got, want.journal) {
		t.Errorf("%v\n got %+v\nwant %+v", d.err, got, want.journal)
	}
}
