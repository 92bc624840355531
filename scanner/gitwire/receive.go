package gitwire

import (
	"context"
	"fmt"

	"stanch/scanner/gitpack"
)

const (
	memoryPack = 8 << 20 // packs up to this size are held in memory
	// maxObjects is how many objects a pack of a push may hold: they take about 60
	// bytes of memory each.
	maxObjects = 4 << 20
)

// receiver takes one pack.
type receiver struct {
	spill *gitpack.Spill
	limit int64 // bytes that may come
}

func newReceiver(dir string, limit int64) *receiver {
	return &receiver{gitpack.NewSpill(dir, storePrefix, memoryPack), limit}
}

func (v *receiver) begin(objects uint32) error {
	if objects > maxObjects {
		return fmt.Errorf("%w: pack of %d objects", ErrTooLarge, objects)
	}
	return nil
}

func (v *receiver) Write(p []byte) (int, error) {
	if v.spill.Size()+int64(len(p)) > v.limit {
		return 0, ErrTooLarge
	}
	return v.spill.Write(p)
}

// open makes a pack that came whole readable.
func (v *receiver) open(ctx context.Context, hash int) (*gitpack.Repo, error) {
	return gitpack.NewArrival(ctx, v.spill, hash, nil).Finish(ctx, nil)
}
