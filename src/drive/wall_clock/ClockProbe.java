import java.io.BufferedReader;
import java.io.InputStreamReader;

/** Says what time it is to this machine, each time that it is asked; sleeps or waits ahead of that where it is told to. */
public class ClockProbe {
    public static void main(String[] arguments) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
        Object never = new Object();
        for (String question = questions.readLine(); question != null; question = questions.readLine()) {
            String[] words = question.split(" ");
            long milliseconds = Long.parseLong(words[1]);
            if (words[0].equals("sleep")) {
                Thread.sleep(milliseconds);
            } else if (words[0].equals("wait")) {
                synchronized (never) {
                    never.wait(milliseconds);
                }
            }
            System.out.println(System.currentTimeMillis() * 1000L);
            System.out.flush();
        }
    }
}
