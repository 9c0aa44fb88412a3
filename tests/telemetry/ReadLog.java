// Reads an interval log with HdrHistogram's own reader and adds up the intervals of each tag: a line
// a tag with count, median, 99 %, 99.9 % and maximum.

import java.io.File;
import java.util.Map;
import java.util.TreeMap;
import org.HdrHistogram.EncodableHistogram;
import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramLogReader;

class ReadLog {
    public static void main(String[] arguments) throws Exception {
        Map<String, Histogram> byTag = new TreeMap<>();
        HistogramLogReader reader = new HistogramLogReader(new File(arguments[0]));
        EncodableHistogram interval;
        long end = 0;
        while ((interval = reader.nextIntervalHistogram()) != null) {
            Histogram whole = byTag.computeIfAbsent(interval.getTag(), tag -> new Histogram(3));
            whole.add((Histogram) interval);
            end = Math.max(end, interval.getEndTimeStamp());
        }
        System.out.printf("start %.3f end %d%n", reader.getStartTimeSec(), end);
        byTag.forEach((tag, whole) -> System.out.printf("%s %d %d %d %d %d%n", tag,
                whole.getTotalCount(), whole.getValueAtPercentile(50), whole.getValueAtPercentile(99),
                whole.getValueAtPercentile(99.9), whole.getMaxValue()));
    }
}
